target "default" {
  cache-from = ["x/one,x/two"]
}
