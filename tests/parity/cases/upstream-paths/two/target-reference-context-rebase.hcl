target "t" {
  context = target.base.context
}
