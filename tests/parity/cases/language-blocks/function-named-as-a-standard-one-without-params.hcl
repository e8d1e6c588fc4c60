function "upper" {
  result = "mine"
}
target "default" {
  args = {
    v = upper("a")
  }
}
