function "f" {
  params = []
  result = try(NOPE, 1)
}
target "default" {
  args = {
    v = 1
  }
}
