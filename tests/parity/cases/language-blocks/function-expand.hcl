function "f" {
  params = [a,b]
  result = "${a}${b}"
}
target "default" {
  args = {
    v = f([1,2]...)
  }
}
