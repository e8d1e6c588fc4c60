target "default" {
  platforms = ["windows(10.0.17763)/amd64", "windows(10.0+win32k)/amd64", "windows()/amd64", "linux+x/amd64"]
}

target "versions" {
  platforms = ["windows(10.0.17763)/amd64", "windows(10.0+win32k)/amd64", "windows()/amd64", "freebsd(14)/arm/v8"]
}
