function "f" {
  params = []
  result = target.default.name
}
target "default" {
  args = {
    v = 1
  }
}
