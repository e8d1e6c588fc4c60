target "default" {
  call = ["a"]
}
