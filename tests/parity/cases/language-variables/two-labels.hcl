variable "A" "B" {
}
target "default" {}
