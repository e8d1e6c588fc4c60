function "f" {
  params = []
  result = NOPE
}
target "default" {}
