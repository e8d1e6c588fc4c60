target "default" {
  args = {
    v = join(",", [for target in ["a"] : target])
  }
}
