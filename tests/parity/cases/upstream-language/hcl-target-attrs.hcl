target "one" {
  dockerfile = "D"
  context    = target.two.context
  target     = target.one.dockerfile
}
target "two" {
  dockerfile = target.one.dockerfile
  context    = "ctx"
  target     = target.two.context
}
