target "default" {
  secret = ["id=nope"]
}
