function "f" {
  params = a
 result = 1
}
target "default" {
  args = {
    v = 1
  }
}
