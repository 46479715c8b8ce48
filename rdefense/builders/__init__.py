"""What `rdefense.build` is made of, by what is built."""
