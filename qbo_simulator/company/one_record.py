"""The two entities of which a company has one record each."""

from __future__ import annotations

from typing import Any

from qbo_simulator.times import pacific


def company_info(seed: int, start: int) -> dict[str, Any]:
    created = pacific(start).decode()
    address = {"Id": "1", "Line1": "123 Sierra Way", "City": "San Pablo", "CountrySubDivisionCode": "CA"}
    return {
        "CompanyName": f"Simulated Company {seed}",
        "LegalName": f"Simulated Company {seed}",
        "CompanyAddr": address | {"PostalCode": "87999"},
        "CompanyStartDate": created[:10],
        "FiscalYearStartMonth": "January",
        "Country": "US",
        "Email": {"Address": "company@example.com"},
        "SupportedLanguages": "en",
        "NameValue": [{"Name": "NeoEnabled", "Value": "true"}],
        "domain": "QBO",
        "sparse": False,
        "Id": "1",
    }


def preferences(seed: int, start: int) -> dict[str, Any]:  # noqa: ARG001 - as the other one
    return {
        "AccountingInfoPrefs": {
            "TrackDepartments": True,
            "ClassTrackingPerTxn": False,
            "CustomerTerminology": "Customers",
        },
        "ProductAndServicesPrefs": {"ForSales": True, "ForPurchase": True, "QuantityOnHand": True},
        "SalesFormsPrefs": {"CustomTxnNumbers": False, "AllowDeposit": True, "AllowShipping": True},
        "CurrencyPrefs": {"MultiCurrencyEnabled": True, "HomeCurrency": {"value": "USD"}},
        "OtherPrefs": {"NameValue": [{"Name": "SalesFormsPrefs.DefaultCustomerMessage", "Value": "Gracias"}]},
        "domain": "QBO",
        "sparse": False,
        "Id": "1",
    }
