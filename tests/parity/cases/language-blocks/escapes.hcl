target "default" {
  args = {
    v = "$${x} %%{y}"
  }
}
