target "default" {
  secret = ["id"]
}
