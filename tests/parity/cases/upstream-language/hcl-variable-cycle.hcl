variable "A" { default = B }
variable "C" { default = A }
variable "B" { default = A }
target "default" {}
