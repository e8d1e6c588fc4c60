target "default" {
  secret = ["id=x,src=nope"]
}
