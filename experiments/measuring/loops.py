"""What a program does where it has loops: XLA's account, round by round.

XLA counts the body of a loop once, however often it runs. A `lax.scan` (and a
`lax.fori_loop` between static bounds) says in the traced program how often that
is; each is compiled on its own, and what its other rounds do is added. With A
what XLA counts of a program, A_i of one round of loop i, which has T_i rounds
and runs n_i times,

  work = A + sum_i n_i (T_i - 1) A_i,

where n_i multiplies the lengths of the loops around it, and a loop that is
unrolled u times has T_i = floor(length / u) rounds of u bodies. One loop is not
seen: a CPU makes random numbers in five rounds, of which one counts.

>>> x = jax.ShapeDtypeStruct((8, 8), 'float32')
>>> def powers(x):
...   return jax.lax.fori_loop(0, 100, lambda i, y: y @ x, x)
>>> round(work(jax.jit(powers).trace(x)).flops, -3)  # 100 products
102000.0
"""

from typing import Any

import jax
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params
from jax.interpreters.partial_eval import dce_jaxpr
from jax.stages import Traced

from experiments.measuring import costs
from experiments.measuring.costs import Work

__all__ = ['work']


def work(traced: Traced) -> Work:
  """Of a traced program, with the body of each loop as often as it runs.

  Args:
    traced: `jax.jit(fn).trace(...)`, for one device; compiled here, not run.

  Raises:
    ValueError: on a `while` loop, whose rounds only running it would tell.
  """
  once = costs.work(traced.lower().compile())
  return costs.summed([once, _repeated(traced.jaxpr.jaxpr)])


def _repeated(jaxpr: Jaxpr) -> Work:
  """What XLA's account leaves out: of each loop, all rounds but the first."""
  used, _ = dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))  # as XLA does
  return costs.summed(map(_of, used.eqns))


def _of(equation: JaxprEqn) -> Work:
  params = equation.params
  inner = [_repeated(_open(each)) for each in jaxprs_in_params(params)]
  match equation.primitive.name:
    case 'scan':
      within = costs.scaled(costs.summed(inner), params['length'])
      return costs.summed([_rounds(equation), within])
    case 'while':
      raise ValueError(
        'a while loop cannot be counted, as how often it runs is not known '
        'before: give fori_loop static bounds, or use scan.'
      )
    case 'cond':  # of its branches XLA counts the one that does most
      return Work(*map(max, zip(*inner)))
    case _:
      return costs.summed(inner)


def _rounds(scan: JaxprEqn) -> Work:
  """All rounds but one; bodies that do not fill a round are counted already."""
  params: dict[str, Any] = scan.params
  bodies = params['unroll']
  rounds = params['length'] // bodies
  if rounds < 2:
    return Work(0.0, 0.0)
  shared = params['num_consts'] + params['num_carry']
  avals: list[Any] = [var.aval for var in scan.invars]
  shapes = [a.shape for a in avals[:shared]]
  shapes += [(bodies, *a.shape[1:]) for a in avals[shared:]]

  def one(*args):
    return scan.primitive.bind(
      *args, **params | {'length': bodies, 'unroll': bodies}
    )

  structs = [jax.ShapeDtypeStruct(s, a.dtype) for s, a in zip(shapes, avals)]
  compiled = jax.jit(one).lower(*structs).compile()
  return costs.scaled(costs.work(compiled), rounds - 1)


def _open(jaxpr) -> Jaxpr:
  return getattr(jaxpr, 'jaxpr', jaxpr)  # of a closed one
