function "f" {
  params = []
}
target "default" {
  args = {
    v = 1
  }
}
