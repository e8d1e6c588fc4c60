target "default" {
  foo = "x"
  foo "bar" {}
  args { A = "x" }
}
foo "bar" {}
variable "V" {
  sensitive = true
  nullable  = false
  default   = "v"
}
group "g" {
  targets = ["default"]
  foo     = 1
}
