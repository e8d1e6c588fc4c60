target "default" {
  resources = null
}
