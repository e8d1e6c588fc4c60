target "default" {
  args = {
    v = target.nope.tags
  }
}
