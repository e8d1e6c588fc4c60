group "g" {
  targets = ["app"]
}
target "g" {
  dockerfile = "G"
}
target "app" {
  dockerfile = "D"
}
