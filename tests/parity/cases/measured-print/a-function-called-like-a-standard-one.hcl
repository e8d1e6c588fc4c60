function "upper" {
  params = [x]
  result = "mine"
}
target "default" { args = { v = upper("a") } }
