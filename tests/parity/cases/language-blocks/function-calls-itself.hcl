function "f" {
  params = [a]
  result = f(a)
}
target "default" {
  args = {
    v = 1
  }
}
