group "g" { targets=["default"] }
target "default" {
  args = {
    v = join(",", group.g.targets)
  }
}
