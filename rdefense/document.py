"""Documents as lists of blocks, printed as Markdown and as one HTML page.

Both come from the same blocks, so they cannot disagree. The page carries its
style and its figures inside and loads nothing but the pictures of links, so it
can be mailed. A block is

  ('heading', level, text)          ('paragraph', text)
  ('code', text, summary)           folded under its summary unless that is ''
  ('figure', name, png, caption)    name without `.png`
  ('table', header, rows)           a cell: a string, `Link`, `Compared`, or
                                    lines, each a string or a `Link`

and `code` in backticks is code in both.

>>> blocks = [('heading', 1, 'Demo'), ('paragraph', 'Set `eps`.')]
>>> markdown(blocks)
'# Demo\\n\\nSet `eps`.\\n'
>>> '<p>Set <code>eps</code>.</p>' in page('Demo', blocks)
True
"""

import base64
from collections.abc import Sequence
import html
import re
from typing import NamedTuple
import urllib.parse

__all__ = ['Compared', 'Link', 'markdown', 'page']

_STYLE = """
:root{--ink:#1d2733;--faint:#66717d;--line:#dfe4e8;--paper:#fff;--wash:#f5f7f9;
--ours:#0072b2;--theirs:#d55e00;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaee;--faint:#9aa5b1;
--line:#36404a;--paper:#14191f;--wash:#1d242c;--ours:#56b4e9;--theirs:#f0883e}}
body{margin:0 auto;padding:2.5rem 1.25rem 4rem;max-width:64rem;color:var(--ink);
background:var(--paper);font:16px/1.55 system-ui,sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem;padding-top:1rem;
border-top:1px solid var(--line)}h3{font-size:1rem;margin:1.5rem 0 .25rem}
p{max-width:46rem;margin:.5rem 0}h1+p{font-size:1.15rem;color:var(--faint)}
.wide{overflow-x:auto}table{border-collapse:collapse;margin:1rem 0;
font-variant-numeric:tabular-nums}th,td{text-align:left;vertical-align:top;
padding:.55rem 1.1rem .55rem 0;border-bottom:1px solid var(--line)}
th{font-size:.85rem;color:var(--faint);font-weight:600}
td small{display:block;color:var(--faint);font-size:.8rem;line-height:1.45}
.bar{display:block;position:relative;height:6px;width:9.5rem;margin:.3rem 0;
border-radius:3px;background:var(--line)}.bar *{position:absolute;top:0;
height:6px}.bar i{background:var(--ours);border-radius:3px}
.bar u{background:var(--ink);opacity:.45}
.bar b{top:-3px;width:3px;height:12px;margin-left:-1px;background:var(--theirs)}
code,pre{font:13px/1.5 ui-monospace,monospace;background:var(--wash);
border-radius:5px}code{padding:.1em .3em}pre{padding:.8rem 1rem;overflow-x:auto}
summary{cursor:pointer;color:var(--faint)}figure{margin:1.25rem 0}
img{max-width:100%;height:auto;background:#fff;border-radius:8px}
td img{display:block;width:12rem;margin:0 0 .3rem}td a{color:var(--ours)}
figcaption{color:var(--faint);font-size:.9rem}
"""


class Compared(NamedTuple):
  """A cell: a share in percent, its interval, and perhaps a printed figure."""

  percent: float
  low: float
  high: float
  published: float | None = None
  source: str = ''


class Link(NamedTuple):
  """To another page, by a relative address, perhaps under a small picture."""

  text: str
  address: str
  picture: str = ''  # its relative address


def markdown(blocks: Sequence[tuple]) -> str:
  """The document in Markdown; figures are `<name>.png` beside it."""
  return '\n\n'.join(_markdown(block) for block in blocks) + '\n'


def page(title: str, blocks: Sequence[tuple]) -> str:
  """The document as one HTML page that loads nothing."""
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
    f'<title>{html.escape(title)}</title>\n'
    f'<style>{_STYLE}</style></head><body>\n'
    + '\n'.join(_html(block) for block in blocks)
    + '\n</body></html>\n'
  )


def _markdown(block):
  match block:
    case ('heading', level, text):
      return f'{"#" * level} {text}'
    case ('paragraph', text):
      return text
    case ('code', text, summary):
      return (f'{summary}:\n\n' if summary else '') + f'```\n{text}\n```'
    case ('figure', name, _, caption):
      return f'![{caption}]({name}.png)\n\n*{caption}*'
    case ('table', header, rows):
      table = [header, ['---'] * len(header)] + [
        [_markdown_cell(cell) for cell in row] for row in rows
      ]
      return '\n'.join(f'| {" | ".join(row)} |' for row in table)


def _markdown_cell(cell):
  return '<br>'.join(map(_plain, _lines(cell))).replace('|', '\\|')


def _html(block):
  match block:
    case ('heading', level, text):
      return f'<h{level}>{_inline(text)}</h{level}>'
    case ('paragraph', text):
      return f'<p>{_inline(text)}</p>'
    case ('code', text, ''):
      return f'<pre>{html.escape(text)}</pre>'
    case ('code', text, summary):
      return (
        f'<details><summary>{html.escape(summary)}</summary>'
        f'<pre>{html.escape(text)}</pre></details>'
      )
    case ('figure', _, png, caption):
      data = base64.b64encode(png).decode()
      return (
        f'<figure><img alt="{html.escape(caption)}" '
        f'src="data:image/png;base64,{data}">'
        f'<figcaption>{_inline(caption)}</figcaption></figure>'
      )
    case ('table', header, rows):
      head = ''.join(f'<th>{_inline(name)}</th>' for name in header)
      body = '\n'.join(
        f'<tr>{"".join(f"<td>{_html_cell(cell)}</td>" for cell in row)}</tr>'
        for row in rows
      )
      head = f'<thead><tr>{head}</tr></thead>' if any(header) else ''
      table = f'<table>{head}\n<tbody>{body}</tbody></table>'
      return f'<div class="wide">{table}</div>'


def _html_cell(cell):
  first, *rest = _lines(cell)
  small = ''.join(f'<small>{_html_line(line)}</small>' for line in rest)
  if not isinstance(cell, Compared):
    return _html_line(first) + small
  mark = ''
  if cell.published is not None:
    mark = f'<b style="left:{cell.published:.2f}%"></b>'
  width = cell.high - cell.low
  return (
    f'<strong>{first}</strong>'
    '<span class="bar" title="0 to 100%; shaded: interval; orange: the paper">'
    f'<i style="width:{cell.percent:.2f}%"></i>'
    f'<u style="left:{cell.low:.2f}%;width:{width:.2f}%"></u>'
    f'{mark}</span>{small}'
  )


def _lines(cell):
  """A cell as lines, the first of them the strong one."""
  if isinstance(cell, str | Link):
    return [cell]
  if not isinstance(cell, Compared):
    return [line for line in cell if line]
  lines = [f'{cell.percent:.2f}', f'[{cell.low:.2f}, {cell.high:.2f}]']
  if cell.published is not None:
    difference = f'{cell.percent - cell.published:+.2f}'.replace('-', '−')
    lines.append(f'{cell.source}: {cell.published:.2f}, {difference}')
  return lines


def _plain(line):
  if not isinstance(line, Link):
    return line
  picture = f'![{line.text}]({_address(line.picture)}) ' if line.picture else ''
  return f'{picture}[{line.text}]({_address(line.address)})'


def _html_line(line):
  if not isinstance(line, Link):
    return _inline(line)
  picture = ''
  if line.picture:
    source = html.escape(_address(line.picture))
    picture = f'<img loading="lazy" alt="" src="{source}">'
  address = html.escape(_address(line.address))
  return f'<a href="{address}">{picture}{_inline(line.text)}</a>'


def _address(path):
  """Never read as one with a scheme, whatever a folder is called."""
  return urllib.parse.quote(path)


def _inline(text):
  return re.sub(r'`([^`]+)`', r'<code>\1</code>', html.escape(text))
