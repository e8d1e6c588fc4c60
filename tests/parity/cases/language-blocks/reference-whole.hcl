target "b" {
 dockerfile="D"
}
target "default" {
  args = {
    v = jsonencode(keys(target.b))
  }
}
