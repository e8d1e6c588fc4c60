group "g" {
  targets = ["app"]
}
target "app" {
  dockerfile = "D"
}
