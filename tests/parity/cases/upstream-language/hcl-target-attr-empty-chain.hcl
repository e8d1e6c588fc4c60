target "one" {
  context = target.one.dockerfile
  target  = target.one.context
}
