function "f" {
  params = [a]
 variadic_params = r
  result = "${a}:${join(",", r)}"
}
target "default" {
  args = {
    v = f(1,2,3)
  }
}
