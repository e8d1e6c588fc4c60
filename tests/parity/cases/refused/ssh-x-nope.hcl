target "default" {
  ssh = ["x=nope"]
}
