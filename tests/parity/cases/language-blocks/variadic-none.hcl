function "f" {
  params = []
 variadic_params = r
  result = jsonencode(r)
}
target "default" {
  args = {
    v = f()
  }
}
