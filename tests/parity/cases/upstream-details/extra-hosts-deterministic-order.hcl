target "default" {
  extra-hosts = { c = "3.3.3.3", a = "1.1.1.1", d = "4.4.4.4", b = "2.2.2.2" }
}
