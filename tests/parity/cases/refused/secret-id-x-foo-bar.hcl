target "default" {
  secret = ["id=x,foo=bar"]
}
