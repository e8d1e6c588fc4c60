group "g" {
 targets=["default"]
}
target "default" {
  args = {
    v = group.g.name
  }
}
