group "g" {
 targets=["default"]
 description="dd"
}
target "default" {
  args = {
    v = group.g.description
  }
}
