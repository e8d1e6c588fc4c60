function "f" {
  result = 1
}
target "default" {
  args = {
    v = f()
  }
}
