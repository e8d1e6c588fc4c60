target "default" {
  args = {
    v = try(target.nope.tags, "d")
  }
}
