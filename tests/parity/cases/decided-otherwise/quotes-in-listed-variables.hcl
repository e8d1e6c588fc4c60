variable "s" {
  type    = string
  default = "say \"hi\""
}
variable "t" {
  type    = string
  default = "\"quoted\""
}
variable "n" { default = "say \"hi\"" }
target "default" {}
