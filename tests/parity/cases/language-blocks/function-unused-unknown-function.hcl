function "f" {
  params = []
  result = nope()
}
target "default" {
  args = {
    v = 1
  }
}
