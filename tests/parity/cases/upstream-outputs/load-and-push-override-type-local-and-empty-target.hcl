target "files" {
  output = ["type=local,dest=here"]
}
target "none" {}
