target "default" {
  cache-to = ["src=x,dest=y"]
}
