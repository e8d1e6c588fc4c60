target "a" {}
variable "V" {}
