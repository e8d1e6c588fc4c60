function "f" {
  params = []
  result = 1
  foo    = 1
}
target "default" {}
