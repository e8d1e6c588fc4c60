function "f" {
  params = []
  result = NOPE
}
target "default" {
  args = {
    v = 1
  }
}
