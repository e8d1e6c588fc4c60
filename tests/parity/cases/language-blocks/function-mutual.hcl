function "f" {
  params = [a]
  result = g(a)
}
function "g" {
  params = [a]
  result = f(a)
}
target "default" {
  args = {
    v = 1
  }
}
