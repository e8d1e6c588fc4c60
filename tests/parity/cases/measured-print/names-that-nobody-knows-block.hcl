function "f" {
  params = []
  result = 1
  foo {}
}
target "default" {}
