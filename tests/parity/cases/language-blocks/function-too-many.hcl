function "f" {
  params = [a]
  result = a
}
target "default" {
  args = {
    v = f(1,2)
  }
}
