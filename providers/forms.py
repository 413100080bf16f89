"""The admin's forms for providers and credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from providers.models import DEFAULT_ALIAS, Credential, Provider, validate_secret
from providers.vault import Undecryptable
from shown.merged_form import Masked

if TYPE_CHECKING:
    ProviderModelForm = forms.ModelForm[Provider]
    CredentialModelForm = forms.ModelForm[Credential]
else:
    ProviderModelForm = CredentialModelForm = forms.ModelForm


class SecretField(forms.CharField):
    """A secret that can be written but is never shown. Blank keeps the stored one."""

    def __init__(self, **options: Any) -> None:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password", "size": 60})
        super().__init__(required=False, strip=False, widget=widget, validators=[validate_secret], **options)


def masked(credential: Credential | None) -> Masked:
    if credential is None:
        return Masked("", "no key")
    try:
        return Masked(credential.secret, credential.mask)
    except Undecryptable:
        return Masked(credential.encrypted, credential.mask)


class ModelsField(forms.CharField):
    """A line for each model: `name`, or `client-side name = provider's name`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, widget=forms.Textarea(attrs={"rows": 6, "cols": 60}), **options)

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return "\n".join(f"{client} = {upstream}" if upstream else client for client, upstream in value.items())

    def to_python(self, value: Any) -> Any:
        pairs = [line.partition("=") for line in (super().to_python(value) or "").splitlines() if line.strip()]
        return {client.strip(): upstream.strip() for client, _, upstream in pairs}

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or {}))


class ProviderForm(ProviderModelForm):
    model_map = ModelsField(
        label="Models",
        help_text="A line each: gpt-4.1-mini, or gpt-4*, or fast = gpt-4.1-mini where the provider has another name. "
        "Empty: every model.",
    )
    api_key = SecretField(
        label="API key",
        help_text="Kept, encrypted, as this provider's own credential under the alias above (or “default”). "
        "Blank: what is stored stays.",
    )

    class Meta:
        model = Provider
        fields: ClassVar = [
            "name",
            "kind",
            "base_url",
            "credential_alias",
            "model_map",
            "priority",
            "weight",
            "is_enabled",
            "options",
        ]

    def masked(self) -> dict[str, Masked]:
        alias = self.instance.credential_alias or DEFAULT_ALIAS
        return {"api_key": masked(self.instance.credentials.filter(alias=alias).first())}

    def clean_options(self) -> Any:
        return self.cleaned_data["options"] or {}


class ProviderRowForm(ProviderModelForm):
    """One row of the list of providers, where some fields can be edited."""

    def add_error(self, field: str | None, error: Any) -> None:
        """Add an error about a field that the row does not have to the form as a whole.

        The model validates all its fields, and Django's forms raise `ValueError` for an error about a missing field.
        """
        by_field = getattr(error, "error_dict", None)
        if field is None and by_field:
            unknown = [name for name in by_field if name not in self.fields and name != NON_FIELD_ERRORS]
            for name in unknown:
                super().add_error(None, ValidationError(by_field.pop(name)))
            if not by_field:
                return
        super().add_error(field, error)


class CredentialForm(CredentialModelForm):
    secret = SecretField(help_text="Stored encrypted and never shown again. Blank: what is stored stays.")

    class Meta:
        model = Credential
        fields: ClassVar = ["alias", "provider"]

    def masked(self) -> dict[str, Masked]:
        return {"secret": masked(self.instance)}

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if not secret and not self.instance.pk:
            raise forms.ValidationError("A new credential needs its secret.", code="required")
        return secret
