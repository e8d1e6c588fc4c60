function "inc" {
  params = [n]
  result = n + 1
}
target "default" {
  args = {
    v = inc(5)
  }
}
